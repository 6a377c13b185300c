mod encoded;
mod foreign;
mod hostile;
mod round;
mod samples;
