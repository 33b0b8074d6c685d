//! What one source says of a collective, and what several together say.

use super::CollectiveArguments;
use super::link::{Format, format, operation};
use crate::timeline::{LabelId, Labels};
use crate::work::CollectiveKind;

/// How much data, in bytes or in elements of a format that another source may know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    Bytes(f64),
    Elements(f64),
}

impl Amount {
    fn bytes(self, format: Option<Format>) -> Option<f64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Elements(count) => Some(count * format?.bytes),
        }
    }

    fn times(self, factor: f64) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes * factor),
            Self::Elements(count) => Self::Elements(count * factor),
        }
    }
}

/// What is said of a collective.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Said {
    pub kind: Option<CollectiveKind>,
    /// The buffer that a rank puts in, that which it gets out, and what it sends to each rank.
    put_in: Option<Amount>,
    got_out: Option<Amount>,
    part: Option<Amount>,
    pub format: Option<Format>,
    /// The format as the source calls it, where it is none that is known.
    foreign: Option<LabelId>,
    pub group: Option<LabelId>,
    pub group_size: Option<u64>,
    pub ranks: Option<LabelId>,
    pub sequence: Option<u64>,
    is_uneven: bool,
    /// Whether amounts are sums of several messages to several ranks.
    is_exchange: bool,
}

impl Said {
    /// What arguments say.
    pub(super) fn of(arguments: &CollectiveArguments<'_>, labels: &mut Labels) -> Self {
        let known = arguments.dtype.and_then(format);
        let unknown = arguments.dtype.filter(|_| known.is_none());
        let amount = |elements: Option<u64>, bytes: Option<u64>| {
            let bytes = bytes.map(|bytes| Amount::Bytes(bytes as f64));
            let elements = elements.map(|count| Amount::Elements(count as f64));
            bytes.or(elements.map(|it| it.bytes(known).map_or(it, Amount::Bytes)))
        };
        Self {
            kind: arguments.name.and_then(operation),
            put_in: amount(arguments.elements_in, arguments.bytes_in),
            got_out: amount(arguments.elements_out, arguments.bytes_out),
            part: amount(None, arguments.bytes_to_each),
            format: known,
            foreign: unknown.map(|name| labels.intern(name)),
            group: arguments.group.map(|group| labels.intern(group)),
            group_size: arguments.group_size,
            ranks: arguments.ranks.map(|ranks| labels.intern(ranks)),
            sequence: arguments.sequence,
            is_uneven: arguments.is_uneven,
            is_exchange: arguments.is_exchange,
        }
    }

    /// Takes what it lacks from a source further out. Sizes of another operation are not its own:
    /// some operations are made of others.
    pub(super) fn complete_by(&mut self, mut outer: Self) {
        if self.kind.is_some() && outer.kind.is_some() && self.kind != outer.kind {
            outer.forget_size();
        }
        self.kind = self.kind.or(outer.kind);
        let better = |own: Option<Amount>, other: Option<Amount>| match (own, other) {
            (None | Some(Amount::Elements(_)), Some(Amount::Bytes(_))) => other,
            _ => own.or(other),
        };
        if self.put_in.is_none() {
            self.is_exchange |= outer.is_exchange && outer.put_in.is_some();
        }
        self.put_in = better(self.put_in, outer.put_in);
        self.got_out = better(self.got_out, outer.got_out);
        self.part = better(self.part, outer.part);
        if self.format.is_none() && self.foreign.is_none() {
            (self.format, self.foreign) = (outer.format, outer.foreign);
        }
        // A group's name, size, ranks and numbers are of one source.
        self.group_size = self.group_size.or(outer.group_size);
        self.ranks = self.ranks.or(outer.ranks);
        if self.group.is_none() {
            self.group = outer.group;
            self.sequence = self.sequence.or(outer.sequence);
        } else if self.sequence.is_none() && self.group == outer.group {
            self.sequence = outer.sequence;
        }
        self.is_uneven |= outer.is_uneven;
    }

    /// Forgets sizes and the number: they are of more or of less than one kernel.
    pub(super) fn forget_size(&mut self) {
        (self.put_in, self.got_out, self.part) = (None, None, None);
        (self.sequence, self.is_uneven, self.is_exchange) = (None, false, false);
    }

    /// So many equal collectives as one.
    pub(super) fn times(&mut self, count: u32) {
        for amount in [&mut self.put_in, &mut self.got_out, &mut self.part] {
            *amount = amount.map(|it| it.times(f64::from(count)));
        }
    }

    /// Whether ranks are said to send each other different amounts.
    pub(super) fn is_uneven(&self) -> bool {
        let bytes = |amount: Option<Amount>| amount?.bytes(self.format);
        let differs = bytes(self.put_in).zip(bytes(self.got_out)).is_some_and(|it| it.0 != it.1);
        let is_exchange = self.kind == Some(CollectiveKind::AllToAll);
        is_exchange && (differs || self.is_uneven)
    }

    /// Ranks that take part, where they are said or follow from the sizes: all put in one shard of
    /// what a gather gets out, and get one of what they put into a scatter.
    pub(super) fn members(&self) -> Option<u64> {
        let bytes = |amount: Option<Amount>| amount?.bytes(self.format).filter(|&it| it >= 1.0);
        let ratio = || {
            let (put_in, got_out) = (bytes(self.put_in)?, bytes(self.got_out)?);
            let ratio = match self.kind? {
                CollectiveKind::AllGather => got_out / put_in,
                CollectiveKind::ReduceScatter => put_in / got_out,
                _ => return None,
            };
            (ratio >= 1.0 && ratio.fract() == 0.0).then_some(ratio as u64)
        };
        self.group_size.or_else(ratio)
    }

    /// Size as nccl-tests counts it (`doc/PERFORMANCE.md` of NVIDIA/nccl-tests): the gathered
    /// output for all-gather, else the buffer that goes in. `None` where it would be a guess.
    pub(super) fn bytes(&self) -> Option<f64> {
        let members = self.members().map(|count| count as f64);
        let bytes = |amount: Option<Amount>| amount?.bytes(self.format);
        let all = |shard: Option<f64>| Some(shard? * members?);
        let (put_in, got_out) = (bytes(self.put_in), bytes(self.got_out));
        match self.kind {
            Some(CollectiveKind::AllGather) => got_out.or_else(|| all(put_in)),
            Some(CollectiveKind::ReduceScatter) => put_in.or_else(|| all(got_out)),
            Some(CollectiveKind::AllToAll) => put_in.or_else(|| all(bytes(self.part))),
            Some(CollectiveKind::SendReceive) if self.is_exchange => None,
            Some(_) => put_in.or(got_out),
            // Of an operation that has no name here, only what is the same on both sides.
            None => put_in.filter(|_| put_in == got_out && !self.is_exchange),
        }
    }

    /// Name of the format.
    pub(super) fn dtype(&self, labels: &mut Labels) -> Option<LabelId> {
        self.format.map(|format| labels.intern(format.name)).or(self.foreign)
    }
}
