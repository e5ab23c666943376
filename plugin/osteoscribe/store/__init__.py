"""What was received and what was made of it, on disk and in the ledger."""
