//! Handing mail to a relay.
