"""Everything a store holds as files of other tools: tables, labelled arrays, states."""
