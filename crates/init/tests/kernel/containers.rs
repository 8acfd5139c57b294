//! Real containers, without privileges.
