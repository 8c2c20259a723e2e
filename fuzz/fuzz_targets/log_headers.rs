#![no_main]
lyredb_fuzz::target!(log_headers);
