"""Many runs: each by the key of what determines it, carried out once, by whoever is free."""
