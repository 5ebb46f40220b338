//! The front door over gRPC: consultations and referrals. Thin: `tasuki_domain` decides.
//!
//! `consultation.rs` and `referral.rs` hold one service each; `queries.rs` reads referrals under policy, with a read
//! record before the answer leaves; `wait.rs` lets a caller read its own write.

mod consultation;
mod queries;
mod referral;
mod wait;

pub use consultation::Consultations;
pub use referral::Referrals;
