"""What a store holds, how far every stage is, and how fast it goes on."""
