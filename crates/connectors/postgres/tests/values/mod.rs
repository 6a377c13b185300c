mod every_type;
mod fuzz;
mod generated;
mod keys;
mod pitfalls;
