//! Whole logs: every event of a real server is known, whatever its settings.
