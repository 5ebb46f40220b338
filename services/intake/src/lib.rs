//! The front door over gRPC: consultations, referrals, and whose case a case is. Thin: `tasuki_domain` decides.
//!
//! `consultation.rs`, `referral.rs` and `identity.rs` hold one service each; `queries.rs` reads referrals and
//! `search.rs` looks for children under policy, with a read record before the answer leaves; `matching.rs` asks the
//! blind index; `wait.rs` lets a caller read its own write.

mod consultation;
mod identity;
mod matching;
mod queries;
mod referral;
mod search;
mod wait;

pub use consultation::Consultations;
pub use identity::Identity;
pub use referral::Referrals;
