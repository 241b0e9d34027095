//! The checker is checked: a history for each anomaly, one with everything that is allowed, and thousands made by chance.

mod clean;
mod generated;
mod model;
mod mutations;
mod planted;
mod story;
