mod basic;
mod failures;
mod harness;
mod load;
mod lost;
mod promises;
mod saboteurs;
mod window;
