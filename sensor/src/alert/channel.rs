//! The outputs of events and alerts, each by its name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::remote::{self, Remote, RemoteTotals, Waiting};
use crate::sink::{Gauge, Sink, Totals};

/// What an output gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Every event, as a document.
    Events,
    /// Alerts, as documents.
    Alerts,
    /// Alerts, as people read them.
    AlertText,
}

enum Way {
    /// Off this process, on this machine.
    Local(Arc<Sink>),
    /// Off this machine.
    Remote(Remote),
}

/// One output.
pub(crate) struct Channel {
    pub(crate) name: &'static str,
    pub(crate) carries: Carries,
    way: Way,
}

impl Channel {
    pub(crate) fn local(name: &'static str, carries: Carries, sink: Sink) -> Self {
        Self { name, carries, way: Way::Local(Arc::new(sink)) }
    }

    pub(crate) fn remote(name: &'static str, carries: Carries, remote: Remote) -> Self {
        Self { name, carries, way: Way::Remote(remote) }
    }

    /// Where lines for it go.
    pub(crate) fn sink(&self) -> Arc<Sink> {
        match &self.way {
            Way::Local(sink) => Arc::clone(sink),
            Way::Remote(remote) => Arc::clone(&remote.sink),
        }
    }

    /// Tells how it fares.
    pub(crate) fn gauge(&self) -> ChannelGauge {
        let (sink, remote) = match &self.way {
            Way::Local(sink) => (sink.gauge(), None),
            Way::Remote(remote) => (remote.sink.gauge(), Some(Arc::clone(&remote.shared))),
        };
        ChannelGauge { name: self.name, sink, remote }
    }

    /// Writes out what waits, and ends.
    pub(crate) fn close(self) -> (&'static str, Totals) {
        let totals = match self.way {
            Way::Local(sink) => match Arc::try_unwrap(sink) {
                Ok(sink) => sink.close(),
                // A thread that hangs still has it.
                Err(shared) => shared.totals(),
            },
            Way::Remote(remote) => remote.close(),
        };
        (self.name, totals)
    }
}

/// Tells how an output fares.
#[derive(Clone)]
pub(crate) struct ChannelGauge {
    name: &'static str,
    sink: Gauge,
    remote: Option<Arc<remote::Shared>>,
}

/// How an output fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChannelStatus {
    pub(crate) name: String,
    /// Lines that were written, or put into the spool.
    pub(crate) lines: Totals,
    /// Why none can be now; they wait.
    pub(crate) trouble: Option<String>,
    /// Where it leads off this machine: what waits in the spool.
    pub(crate) spool: Option<Waiting>,
    /// And what became of the rest.
    pub(crate) remote: Option<RemoteTotals>,
}

impl ChannelGauge {
    /// So far.
    pub(crate) fn read(&self) -> ChannelStatus {
        ChannelStatus {
            name: self.name.to_owned(),
            lines: self.sink.totals(),
            trouble: self.sink.trouble(),
            spool: self.remote.as_ref().map(|remote| remote.waiting()),
            remote: self.remote.as_ref().map(|remote| remote.sent()),
        }
    }
}
