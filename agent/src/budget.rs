//! Which calls travel: the budget of call rows per second.
