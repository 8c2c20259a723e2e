"""Data larger than memory: LyreDB beside LMDB, RocksDB and SQLite, each within the same memory."""
