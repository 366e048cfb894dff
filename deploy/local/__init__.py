"""Everything on one machine with no account anywhere: launcher, servers, emulators, demo."""
