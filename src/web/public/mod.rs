//! The reader's pages: subscribe, confirm, leave.

pub mod index;
pub mod signup_form;
pub mod views;
