//! What can break, and how often. How it is broken is `stage`'s.

use super::dice::Dice;

/// One thing that breaks, for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL, and another one in its place.
    KillWorker,
    /// SIGTERM, its orderly end, and another one in its place.
    StopWorker,
    /// SIGTERM, and in its place, for a while, one whose imin has a name that does not resolve.
    Misname,
    /// SIGSTOP for a while: longer than its lease.
    FreezeWorker,
    /// The broker's node is killed, and comes back.
    KillBroker,
    /// A line is cut.
    Cut(Line),
    /// A line carries nothing for a while, in one direction or both.
    Hang(Line),
    /// A line is slow for a while.
    Slow(Line),
    /// New connections are refused for a while.
    Refuse(Line),
    /// The line to imin leads elsewhere for a while: no TLS handshake succeeds.
    Mislead(Stranger),
    /// imin answers so for a while.
    Imin(&'static str),
    /// The ledger is killed and comes back, or its file is locked for a while.
    BreakLedger,
    /// The ledger takes nothing more for a while: its disk is full, or the server is a reader only.
    FillLedger,
}

/// Who answers in imin's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stranger {
    /// One who speaks no TLS.
    Plain,
    /// One with a certificate that is not to be trusted.
    Untrusted,
}

/// Where the workers' bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Broker,
    Imin,
    Ledger,
}

impl Fault {
    /// One of them; a ledger that is a file has no line.
    pub(super) fn roll(dice: &mut Dice, ledger: bool) -> Self {
        let lines = [Line::Broker, Line::Broker, Line::Imin, Line::Ledger];
        let line = dice.one(if ledger { &lines } else { &lines[..3] });
        match dice.below(100) {
            0..18 => Self::KillWorker,
            18..26 => Self::StopWorker,
            26..29 => Self::Misname,
            29..33 => Self::FreezeWorker,
            33..37 => Self::KillBroker,
            37..48 => Self::Cut(line),
            48..54 => Self::Hang(line),
            54..58 => Self::Slow(line),
            58..62 => Self::Refuse(line),
            62..66 => Self::Mislead(dice.one(&[Stranger::Plain, Stranger::Untrusted])),
            66..94 => Self::Imin(dice.one(&[
                "200@50%",
                "202@20%",
                "204@20%",
                "no-identifier@20%",
                "garbage@20%",
                "cut@20%",
                "drip@10%",
                "503@50%",
                "503",
                "503-retry-after-date-1@50%",
                "500@50%",
                "500-after@50%",
                "502-html@50%",
                "504-after@30%",
                "507-after@30%",
                "429@50%",
                "429-retry-after-1@50%",
                "408@30%",
                "425@30%",
                "401",
                "403",
                "404",
                "405",
                "407",
                "redirect",
                "timeout-before@20%",
                "timeout-after@20%",
                "reset-before@40%",
                "reset-after@40%",
                "close-before@40%",
                "close-after@40%",
                "delay-300ms@50%",
            ])),
            94..97 => Self::BreakLedger,
            _ => Self::FillLedger,
        }
    }
}
