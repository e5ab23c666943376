"""What Osteoscribe knows about marks, sizes, rules and phrases: pure, no input or output."""
