//! Who owns a socket: process, user, container, unit.
