"""What was seen, decided and deployed, and whether it is still that."""
