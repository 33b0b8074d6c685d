//! One event of the file, with the fields that are kept; in whichever order they were written.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::arguments::{Arguments, ArgumentsSeed, Wanted};
use super::category::{Category, category};
use super::decimal::nanoseconds;
use super::scalar::Scalar;
use crate::timeline::FrameKind;
use crate::trace::DeviceKind;
use crate::trace::formats::frames::announces;

/// A point or length of time as the file gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Time {
    /// The key is missing or `null`.
    #[default]
    Missing,
    /// Something else than a number of this century's clocks.
    Unreadable,
    /// Nanoseconds.
    Ns(i64),
}

/// An event.
#[derive(Clone, Debug, Default)]
pub(super) struct Event<'a> {
    /// First letter of `ph`; 0 where it is missing.
    pub phase: u8,
    /// `cat`, where there is one.
    pub category: Option<Category>,
    /// Its name, only where it is an unknown one.
    pub category_name: Scalar<'a>,
    pub name: Scalar<'a>,
    pub pid: Scalar<'a>,
    pub tid: Scalar<'a>,
    pub start: Time,
    pub length: Time,
    pub arguments: Arguments<'a>,
}

impl Event<'_> {
    /// The same, no longer part of the file.
    pub(super) fn into_owned(self) -> Event<'static> {
        Event {
            phase: self.phase,
            category: self.category,
            category_name: self.category_name.into_owned(),
            name: self.name.into_owned(),
            pid: self.pid.into_owned(),
            tid: self.tid.into_owned(),
            start: self.start,
            length: self.length,
            arguments: self.arguments.into_owned(),
        }
    }

    /// Name; empty where there is none.
    pub(super) fn name(&self) -> &str {
        self.name.text().unwrap_or_default()
    }
}

/// Reads an event, and skips what nobody asked for.
#[derive(Clone, Copy)]
pub(super) struct EventSeed {
    pub frames: bool,
    pub shapes: bool,
}

impl EventSeed {
    /// Whether what is known already says that nothing of the event is kept.
    fn is_decided(self, event: &Event<'_>) -> bool {
        match event.phase {
            // Ends of ranges carry no category; a begin that is skipped would mismatch them.
            0 | b'B' | b'E' | b'M' | b'i' | b'I' => false,
            b'X' => match event.category {
                None => false,
                Some(Category::Silent | Category::Unknown | Category::Instant) => true,
                Some(Category::Shadow) => event.name.text().is_some_and(|name| !announces(name)),
                Some(Category::Frame(_)) => {
                    !self.frames && event.name.text().is_some_and(|name| !is_kept_anyway(name))
                }
                Some(_) => false,
            },
            _ => true,
        }
    }

    /// Which arguments are kept, as far as the event is known by now.
    fn wanted(self, event: &Event<'_>) -> Wanted {
        match (event.phase, event.category) {
            (b'X', Some(Category::Device(DeviceKind::Kernel))) => Wanted::Kernel,
            (b'X', Some(Category::Device(_) | Category::Call)) => Wanted::Work,
            (b'X', Some(Category::Frame(kind))) => {
                if may_announce(event) {
                    Wanted::All
                } else if self.shapes && kind == FrameKind::Operator {
                    Wanted::Shapes
                } else {
                    Wanted::Nothing
                }
            }
            _ => Wanted::All,
        }
    }
}

/// Whether an event, as far as it is known by now, may say what collective is sent.
fn may_announce(event: &Event<'_>) -> bool {
    event.name.text().is_none_or(announces)
}

/// Beginning of the annotation of a training step (`torch/profiler/profiler.py`).
pub(super) const STEP: &str = "ProfilerStep#";

/// Whether a frame is of interest where frames are not kept.
pub(super) fn is_kept_anyway(name: &str) -> bool {
    name.starts_with(STEP) || announces(name)
}

impl<'de> DeserializeSeed<'de> for EventSeed {
    type Value = Event<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed {
    type Value = Event<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an event, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut event = Event::default();
        while let Some(field) = map.next_key_seed(FieldSeed)? {
            match field {
                Field::Phase => {
                    let phase: Scalar<'_> = map.next_value()?;
                    event.phase = phase.text().map_or(0, |text| text.as_bytes()[0]);
                }
                Field::Category => {
                    let name: Scalar<'_> = map.next_value()?;
                    event.category = Some(category(name.text().unwrap_or_default()));
                    if event.category == Some(Category::Unknown) {
                        event.category_name = name;
                    }
                }
                Field::Name => event.name = map.next_value()?,
                Field::Pid => event.pid = map.next_value()?,
                Field::Tid => event.tid = map.next_value()?,
                Field::Start => event.start = time(map.next_value()?),
                Field::Length => event.length = time(map.next_value()?),
                Field::Arguments => {
                    let wanted = self.wanted(&event);
                    let shapes = self.shapes || (wanted == Wanted::All && may_announce(&event));
                    let seed = ArgumentsSeed { wanted, shapes };
                    event.arguments = map.next_value_seed(seed)?;
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            let may_decide = matches!(field, Field::Phase | Field::Category | Field::Name);
            if may_decide && self.is_decided(&event) {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                break;
            }
        }
        Ok(event)
    }
}

fn time(raw: &RawValue) -> Time {
    match raw.get() {
        "null" => Time::Missing,
        text => nanoseconds(text).map_or(Time::Unreadable, Time::Ns),
    }
}

/// A key of an event.
#[derive(Clone, Copy)]
enum Field {
    Phase,
    Category,
    Name,
    Pid,
    Tid,
    Start,
    Length,
    Arguments,
    Other,
}

struct FieldSeed;

impl<'de> DeserializeSeed<'de> for FieldSeed {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for FieldSeed {
    type Value = Field;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Field, E> {
        Ok(match key {
            b"ph" => Field::Phase,
            b"cat" => Field::Category,
            b"name" => Field::Name,
            b"pid" => Field::Pid,
            b"tid" => Field::Tid,
            b"ts" => Field::Start,
            b"dur" => Field::Length,
            b"args" => Field::Arguments,
            _ => Field::Other,
        })
    }
}
