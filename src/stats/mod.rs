//! Counters that a shard keeps for itself, in plain integers; what is shown is merged when it is asked for.

pub mod rates;

pub mod reason;
