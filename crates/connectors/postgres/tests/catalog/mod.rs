mod evolution;
mod tables;
