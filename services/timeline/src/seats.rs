//! How many streams and polls may be open: each holds memory and looks at the views, so there is an end to them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tasuki_domain::ids::PostId;
use tonic::Status;

use crate::errors;

/// Open streams and polls of one post. A desk has some screens and a program or two.
const OF_A_POST_MAX: usize = 32;
/// Open streams and polls of this process.
const OF_ALL_MAX: usize = 8_192;

/// The places of one process. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    of: HashMap<PostId, usize>,
}

/// A place that is taken until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    post: PostId,
}

impl Seats {
    /// Errors: `TOO_MANY_STREAMS`, at once: nobody waits for a place.
    pub(crate) fn take(&self, post: PostId) -> Result<Seat, Status> {
        let mut taken = self.taken();
        if taken.all >= OF_ALL_MAX || taken.of.get(&post).is_some_and(|n| *n >= OF_A_POST_MAX) {
            return Err(errors::too_many_streams());
        }
        taken.all += 1;
        *taken.of.entry(post).or_default() += 1;
        Ok(Seat { seats: self.clone(), post })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(of_post) = taken.of.get_mut(&self.post) {
            *of_post -= 1;
            if *of_post == 0 {
                taken.of.remove(&self.post);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_post_that_takes_too_many_is_refused_and_shuts_out_nobody_else() {
        let seats = Seats::default();
        let (here, there) = (PostId(Uuid::from_u128(1)), PostId(Uuid::from_u128(2)));
        let mut taken: Vec<Seat> = (0..OF_A_POST_MAX).map(|_| seats.take(here).unwrap()).collect();
        assert_eq!(seats.take(here).unwrap_err().code(), tonic::Code::ResourceExhausted);
        assert!(seats.take(there).is_ok());
        taken.pop();
        assert!(seats.take(here).is_ok());
        drop(taken);
        assert!(seats.taken().of.is_empty() && seats.taken().all == 0);
    }

    #[test]
    fn a_process_takes_no_more_than_it_bears() {
        let seats = Seats::default();
        let posts = (0..OF_ALL_MAX).map(|n| PostId(Uuid::from_u128(n as u128)));
        let _taken: Vec<Seat> = posts.map(|post| seats.take(post).unwrap()).collect();
        assert!(seats.take(PostId(Uuid::max())).is_err());
    }
}
