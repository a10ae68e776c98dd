"""What each command takes, and how it begins; heavy imports stand inside: light commands start at once."""
