//! Who may do what. No IO
