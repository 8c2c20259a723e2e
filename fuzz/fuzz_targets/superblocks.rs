#![no_main]
lyredb_fuzz::target!(superblocks);
