"""What a source sends its changes through: a publication and a replication slot."""
