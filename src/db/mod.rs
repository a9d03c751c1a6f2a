//! The database: two engines behind one pair of types.
