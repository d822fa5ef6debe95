//! Publisher confirms of one channel, with every returned message credited to the publish it belongs to.
//!
//! The broker sends `basic.return` before the `basic.ack` of the same message, but lapin hands a
//! return to whichever confirm completes next, so a plain ack alone does not say that a message was
//! routed. What holds: the confirm that carries a return completed before the ack of the returned
//! message. So a round polls everything, polls what is left once more, and only then believes the
//! acks of its first pass: any return that concerns them has been seen.

use crate::broker::{Publication, PublishError};
use lapin::{Confirmation, message::BasicReturnMessage};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};
use tokio::{sync::oneshot, time::Instant};

/// Whoever waits for a publication.
pub type Reply = oneshot::Sender<Result<(), PublishError>>;

/// A publication under way.
#[derive(Debug)]
struct Pending<F> {
    confirm: F,
    publication: Arc<Publication>,
    reply: Reply,
    deadline: Instant,
    result: Option<lapin::Result<Confirmation>>,
    returned: bool,
}

/// The publications under way on one channel.
#[derive(Debug)]
pub struct Confirms<F> {
    pending: Vec<Pending<F>>,
    astray: bool,
    failure: Option<String>,
}

impl<F> Default for Confirms<F> {
    fn default() -> Self {
        Self { pending: Vec::new(), astray: false, failure: None }
    }
}

impl<F: Future<Output = lapin::Result<Confirmation>> + Unpin> Confirms<F> {
    /// How many are under way.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether a publication came back since this was last asked: something is not bound that should be.
    pub fn take_astray(&mut self) -> bool {
        std::mem::take(&mut self.astray)
    }

    /// Why a publication failed since this was last asked: nothing more can be done on the channel.
    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// The earliest deadline.
    pub fn deadline(&self) -> Option<Instant> {
        // Published in order with one timeout, but answered ones leave by `swap_remove`.
        self.pending.iter().map(|pending| pending.deadline).min()
    }

    /// Adds a publication, and polls it once, which is what puts it on the channel.
    pub fn push(&mut self, mut confirm: F, publication: Arc<Publication>, reply: Reply, deadline: Instant) {
        let polled = Pin::new(&mut confirm).poll(&mut Context::from_waker(Waker::noop()));
        let result = match polled {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        };
        self.pending.push(Pending { confirm, publication, reply, deadline, result, returned: false });
    }

    /// Answers everyone whose confirm has come. `Ready` after at least one answer.
    pub fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self.poll_pass(cx);
        if ready.is_empty() {
            return Poll::Pending;
        }
        self.poll_pass(cx);
        self.credit_returns();
        // From the back, so that the indices before stay true.
        for index in ready.into_iter().rev() {
            let pending = self.pending.swap_remove(index);
            let verdict = pending.verdict();
            self.astray |= pending.returned;
            if let Some(Err(error)) = &pending.result {
                self.failure = Some(error.to_string());
            }
            let _ = pending.reply.send(verdict);
        }
        Poll::Ready(())
    }

    /// Fails whatever is under way: the channel is gone.
    pub fn fail_all(&mut self, error: &PublishError) {
        for pending in self.pending.drain(..) {
            let _ = pending.reply.send(Err(error.clone()));
        }
    }

    /// Polls what has no result yet; the indices, ascending, of all that have one.
    fn poll_pass(&mut self, cx: &mut Context<'_>) -> Vec<usize> {
        let mut ready = Vec::new();
        for (index, pending) in self.pending.iter_mut().enumerate() {
            if pending.result.is_none()
                && let Poll::Ready(result) = Pin::new(&mut pending.confirm).poll(cx)
            {
                pending.result = Some(result);
            }
            if pending.result.is_some() {
                ready.push(index);
            }
        }
        ready
    }

    fn credit_returns(&mut self) {
        for index in 0..self.pending.len() {
            let Some(Ok(Confirmation::Ack(carried) | Confirmation::Nack(carried))) =
                &mut self.pending[index].result
            else {
                continue;
            };
            if let Some(returned) = carried.take() {
                self.credit(&returned);
            }
        }
    }

    /// Marks the publication that was returned; all of them where none can be told apart, since
    /// publishing once too often is harmless and believing a lost message is not.
    fn credit(&mut self, returned: &BasicReturnMessage) {
        let found = self.pending.iter_mut().find(|pending| !pending.returned && pending.is(returned));
        match found {
            Some(pending) => pending.returned = true,
            None => self.pending.iter_mut().for_each(|pending| pending.returned = true),
        }
    }
}

impl<F> Pending<F> {
    fn is(&self, returned: &BasicReturnMessage) -> bool {
        returned.exchange == self.publication.exchange
            && returned.routing_key == self.publication.routing_key
            && returned.data == self.publication.body
            && returned.properties == self.publication.properties
    }

    fn verdict(&self) -> Result<(), PublishError> {
        if self.returned {
            return Err(PublishError::Returned {
                exchange: self.publication.exchange.to_string(),
                routing_key: self.publication.routing_key.to_string(),
            });
        }
        match &self.result {
            Some(Ok(Confirmation::Ack(_))) => Ok(()),
            Some(Ok(Confirmation::Nack(_))) => Err(PublishError::Nack),
            Some(Ok(Confirmation::NotRequested)) => {
                Err(PublishError::Connection("the channel is not in confirm mode".into()))
            }
            Some(Err(error)) => Err(PublishError::Connection(error.to_string())),
            None => Err(PublishError::Connection("no confirm".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;
    use bytes::Bytes;
    use futures_util::task::noop_waker;
    use lapin::message::Delivery;
    use tokio::sync::oneshot::Receiver;

    /// A confirm that the test completes.
    type Confirm = futures_util::future::BoxFuture<'static, lapin::Result<Confirmation>>;

    fn publication(body: &'static str) -> Publication {
        Publication {
            exchange: "e".into(),
            routing_key: "k".into(),
            properties: Properties::default().with_message_id(body.into()),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn returned(publication: &Publication) -> BasicReturnMessage {
        let mut delivery = Delivery::mock(
            0,
            publication.exchange.clone(),
            publication.routing_key.clone(),
            false,
            publication.body.to_vec(),
        );
        delivery.properties = publication.properties.clone();
        BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
    }

    struct Bench {
        confirms: Confirms<Confirm>,
        done: Vec<oneshot::Sender<lapin::Result<Confirmation>>>,
        replies: Vec<Receiver<Result<(), PublishError>>>,
    }

    impl Bench {
        fn new(bodies: &[&'static str]) -> Self {
            let mut bench = Self { confirms: Confirms::default(), done: vec![], replies: vec![] };
            for body in bodies {
                let (done, confirm) = oneshot::channel();
                let (reply, answer) = oneshot::channel();
                let confirm = Box::pin(async move { confirm.await.expect("the test completes it") });
                bench.confirms.push(confirm, publication(body).into(), reply, Instant::now());
                bench.done.push(done);
                bench.replies.push(answer);
            }
            bench
        }

        fn round(&mut self) -> Poll<()> {
            self.confirms.poll_round(&mut Context::from_waker(&noop_waker()))
        }
    }

    #[tokio::test]
    async fn a_return_that_rides_on_another_confirm_fails_the_right_publish() {
        let mut bench = Bench::new(&["a", "b"]);
        let mut done = bench.done.drain(..);
        // lapin gives b's return to a's confirm, and b a plain ack.
        let carried = Confirmation::Ack(Some(returned(&publication("b"))));
        done.next().expect("a").send(Ok(carried)).expect("a waits");
        done.next().expect("b").send(Ok(Confirmation::Ack(None))).expect("b waits");
        drop(done);
        assert_eq!(bench.round(), Poll::Ready(()));
        let [a, b] = bench.replies.try_into().expect("two replies");
        assert_eq!(a.await.expect("answered"), Ok(()));
        assert!(matches!(b.await.expect("answered"), Err(PublishError::Returned { .. })));
    }

    #[tokio::test]
    async fn a_return_nobody_can_place_fails_everything_under_way() {
        let mut bench = Bench::new(&["a", "b"]);
        let mut done = bench.done.drain(..);
        let carried = Confirmation::Ack(Some(returned(&publication("unknown"))));
        done.next().expect("a").send(Ok(carried)).expect("a waits");
        let b = done.next().expect("b");
        drop(done);
        assert_eq!(bench.round(), Poll::Ready(()));
        b.send(Ok(Confirmation::Ack(None))).expect("b waits");
        assert_eq!(bench.round(), Poll::Ready(()));
        for reply in bench.replies {
            assert!(matches!(reply.await.expect("answered"), Err(PublishError::Returned { .. })));
        }
    }

    #[tokio::test]
    async fn a_nack_is_an_error_and_nothing_ready_is_pending() {
        let mut bench = Bench::new(&["a"]);
        assert_eq!(bench.round(), Poll::Pending);
        let done = bench.done.remove(0);
        done.send(Ok(Confirmation::Nack(None))).expect("a waits");
        assert_eq!(bench.round(), Poll::Ready(()));
        assert_eq!(bench.replies.remove(0).await.expect("answered"), Err(PublishError::Nack));
        assert!(bench.confirms.is_empty());
    }
}
