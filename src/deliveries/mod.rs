//! Deliveries: claim, mark, transmit, settle.
