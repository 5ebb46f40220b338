//! End-to-end, promises, chaos, clients.
