//! A future that is polled only when it has called.
//!
//! The loop is woken for every record that a rule may match, and asking each of its other inputs whether it was that one
//! would cost more than the record.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Lets a future be polled after it has called.
pub(super) struct Gate {
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    /// Who polls.
    outer: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        let bell = Arc::new(Bell::default());
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Another future is polled from now on, which must be asked once before it can call.
    pub(super) fn open(&self) {
        self.bell.rung.store(true, Ordering::Release);
    }

    /// Polls the future if it has called.
    pub(super) fn poll<F: Future>(&self, future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        {
            let mut outer = self.bell.outer.lock().unwrap_or_else(PoisonError::into_inner);
            if !outer.as_ref().is_some_and(|outer| outer.will_wake(context.waker())) {
                *outer = Some(context.waker().clone());
            }
        }
        // Cleared first: who calls while it is polled is heard.
        if self.bell.rung.swap(false, Ordering::Acquire) {
            future.poll(&mut Context::from_waker(&self.waker))
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[test]
    fn what_is_inside_is_polled_when_it_has_called_and_not_before() {
        let (polls, inside) = (Cell::new(0), Cell::new(None));
        let mut future = pin!(poll_fn(|context| {
            polls.set(polls.get() + 1);
            inside.set(Some(context.waker().clone()));
            if polls.get() < 3 { Poll::Pending } else { Poll::Ready(polls.get()) }
        }));
        let gate = Gate::new();
        gate.open();
        let outer = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&outer));
        let mut poll = || gate.poll(future.as_mut(), &mut Context::from_waker(&waker));
        assert_eq!((poll(), poll(), polls.get()), (Poll::Pending, Poll::Pending, 1));
        for left in [Poll::Pending, Poll::Ready(3)] {
            inside.take().unwrap().wake();
            assert!(outer.rung.swap(false, Ordering::SeqCst), "the outer one was not called");
            assert_eq!(poll(), left);
        }
    }
}
