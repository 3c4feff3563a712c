"""Who made changes: users, their groups, and whatever else acts."""
