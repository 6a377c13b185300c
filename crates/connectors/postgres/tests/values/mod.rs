mod every_type;
mod formats;
mod fuzz;
mod generated;
mod keys;
mod order;
mod pitfalls;
