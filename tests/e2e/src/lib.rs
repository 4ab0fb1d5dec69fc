//! End-to-end cases against a real cluster, by topic in `tests/`.
