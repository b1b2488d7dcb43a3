"""S3 on this machine: a server that speaks the protocol, and a proxy that spoils it."""
