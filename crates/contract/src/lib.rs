//! The contract of Tasuki: every message that is stored, sent or answered, and what each of its fields is about.
//!
//! The messages come from `proto/`; the build refuses a field without a data class. [`Event`] is generated from the
//! messages that carry the option `event`; [`Classified`] is how an event is split into what may stand in a header
//! and what must be sealed, and how it is reduced for a viewer. No IO here, no policy: a [`Lens`] brings the policy.

pub mod classify;
mod header;

pub use classify::{
    Classified, DecodeEventError, Event, EventRule, FieldRule, Lens, Open, Part, RULES, Sink,
};
pub use header::{readable, traceparent};
pub use privacy::v1::{DataClass, SealedPart};

/// The encoded file descriptors of the whole contract, with options and comments.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

macro_rules! package {
    ($name:ident) => {
        /// Generated from the package of the same name.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod $name {
            /// Version 1.
            pub mod v1 {
                tonic_prost_include!($name);
            }
        }
    };
}
macro_rules! tonic_prost_include {
    ($name:ident) => {
        include!(concat!(env!("OUT_DIR"), "/tasuki.", stringify!($name), ".v1.rs"));
    };
}

package!(privacy);
package!(common);
package!(event);
package!(attachments);
package!(cases);
package!(consent);
package!(directory);
package!(erasure);
package!(intake);
package!(handoff);
package!(identity);
package!(minutes);
package!(timeline);
