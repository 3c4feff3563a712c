"""What the server's catalog says of tables: their layouts, and the masks of their columns."""
