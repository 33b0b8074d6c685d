//! The arguments of an event (`args`) that are kept.
//!
//! Keys: `libkineto/src/output_json.cpp`, `CuptiActivity.cpp` and `RoctracerActivity_inl.h` of
//! pytorch/kineto, `torch/csrc/profiler/util.h` of PyTorch for those of collectives.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::scalar::Scalar;

/// Which arguments are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// Of calls, copies and fills.
    Work,
    /// Of kernels: the same, and what collectives say.
    Kernel,
    /// Of operators.
    Shapes,
    /// It is not known yet what the event is.
    All,
}

/// Arguments.
#[derive(Clone, Debug, Default)]
pub(super) struct Arguments<'a> {
    pub device: Scalar<'a>,
    pub stream: Scalar<'a>,
    pub correlation: Scalar<'a>,
    pub external_id: Scalar<'a>,
    pub bytes: Scalar<'a>,
    /// What a call asks, where our own exports say it because the name does not.
    pub call: Scalar<'a>,
    /// Blocks of a kernel's grid.
    pub grid: Option<[u32; 3]>,
    /// Those of rare events.
    pub rare: Option<Box<Rare<'a>>>,
}

/// Arguments of few events.
#[derive(Clone, Debug, Default)]
pub(super) struct Rare<'a> {
    /// New name of a thread or process.
    pub name: Scalar<'a>,
    pub total_allocated: Scalar<'a>,
    pub device_type: Scalar<'a>,
    pub device_id: Scalar<'a>,
    pub wait_on_stream: Scalar<'a>,
    pub wait_on_record: Scalar<'a>,
    pub collective: Scalar<'a>,
    pub elements_in: Scalar<'a>,
    pub elements_out: Scalar<'a>,
    pub dtype: Scalar<'a>,
    pub group_size: Scalar<'a>,
    pub group: Scalar<'a>,
    pub group_description: Scalar<'a>,
    pub ranks: Scalar<'a>,
    pub split_in: Scalar<'a>,
    pub split_out: Scalar<'a>,
    pub sequence: Scalar<'a>,
    /// What kind of work it is, as our own exports say.
    pub class: Scalar<'a>,
    pub shapes: Option<Value>,
    pub dtypes: Option<Value>,
    pub values: Option<Value>,
}

impl Arguments<'_> {
    /// The same, no longer part of the file.
    pub(super) fn into_owned(self) -> Arguments<'static> {
        Arguments {
            device: self.device.into_owned(),
            stream: self.stream.into_owned(),
            correlation: self.correlation.into_owned(),
            external_id: self.external_id.into_owned(),
            bytes: self.bytes.into_owned(),
            call: self.call.into_owned(),
            grid: self.grid,
            rare: self.rare.map(|rare| Box::new(rare.into_owned())),
        }
    }
}

impl Rare<'_> {
    /// The same, no longer part of the file.
    pub(super) fn into_owned(self) -> Rare<'static> {
        Rare {
            name: self.name.into_owned(),
            total_allocated: self.total_allocated.into_owned(),
            device_type: self.device_type.into_owned(),
            device_id: self.device_id.into_owned(),
            wait_on_stream: self.wait_on_stream.into_owned(),
            wait_on_record: self.wait_on_record.into_owned(),
            collective: self.collective.into_owned(),
            elements_in: self.elements_in.into_owned(),
            elements_out: self.elements_out.into_owned(),
            dtype: self.dtype.into_owned(),
            group_size: self.group_size.into_owned(),
            group: self.group.into_owned(),
            group_description: self.group_description.into_owned(),
            ranks: self.ranks.into_owned(),
            split_in: self.split_in.into_owned(),
            split_out: self.split_out.into_owned(),
            sequence: self.sequence.into_owned(),
            class: self.class.into_owned(),
            shapes: self.shapes,
            dtypes: self.dtypes,
            values: self.values,
        }
    }
}

/// Reads arguments.
pub(super) struct ArgumentsSeed {
    pub wanted: Wanted,
    pub shapes: bool,
}

impl<'de> DeserializeSeed<'de> for ArgumentsSeed {
    type Value = Arguments<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        if self.wanted == Wanted::Nothing {
            from.deserialize_ignored_any(IgnoredAny)?;
            return Ok(Arguments::default());
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ArgumentsSeed {
    type Value = Arguments<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("arguments, which are an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Arguments::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Arguments::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut arguments = Arguments::default();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            self.take(key, &mut arguments, &mut map)?;
        }
        Ok(arguments)
    }
}

impl ArgumentsSeed {
    /// Reads one value to its place, or skips it.
    fn take<'de, A: MapAccess<'de>>(
        &self,
        key: Key,
        arguments: &mut Arguments<'de>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let is_work = self.wanted != Wanted::Shapes;
        let place = match key {
            Key::Device if is_work => &mut arguments.device,
            Key::Stream if is_work => &mut arguments.stream,
            Key::Correlation if is_work => &mut arguments.correlation,
            Key::ExternalId if is_work => &mut arguments.external_id,
            Key::Bytes if is_work => &mut arguments.bytes,
            Key::Call if is_work => &mut arguments.call,
            Key::Grid if is_work => {
                let value: Value = map.next_value()?;
                arguments.grid = triple(&value);
                return Ok(());
            }
            Key::Shapes | Key::Dtypes | Key::Values if self.shapes => {
                let value = Some(map.next_value()?);
                let rare = arguments.rare.get_or_insert_default();
                match key {
                    Key::Shapes => rare.shapes = value,
                    Key::Dtypes => rare.dtypes = value,
                    _ => rare.values = value,
                }
                return Ok(());
            }
            _ => match self.rare(key, arguments) {
                Some(place) => place,
                None => {
                    map.next_value::<IgnoredAny>()?;
                    return Ok(());
                }
            },
        };
        *place = map.next_value()?;
        Ok(())
    }

    /// The place of a rare argument, where it is of interest.
    fn rare<'a, 'de>(
        &self,
        key: Key,
        arguments: &'a mut Arguments<'de>,
    ) -> Option<&'a mut Scalar<'de>> {
        let is_of_interest = match self.wanted {
            Wanted::All => key >= Key::Name,
            Wanted::Kernel => key >= Key::Collective,
            _ => false,
        };
        if !is_of_interest {
            return None;
        }
        let rare = arguments.rare.get_or_insert_default();
        Some(match key {
            Key::Name => &mut rare.name,
            Key::TotalAllocated => &mut rare.total_allocated,
            Key::DeviceType => &mut rare.device_type,
            Key::DeviceId => &mut rare.device_id,
            Key::WaitOnStream => &mut rare.wait_on_stream,
            Key::WaitOnRecord => &mut rare.wait_on_record,
            Key::Collective => &mut rare.collective,
            Key::ElementsIn => &mut rare.elements_in,
            Key::ElementsOut => &mut rare.elements_out,
            Key::Dtype => &mut rare.dtype,
            Key::GroupSize => &mut rare.group_size,
            Key::Group => &mut rare.group,
            Key::GroupDescription => &mut rare.group_description,
            Key::Ranks => &mut rare.ranks,
            Key::SplitIn => &mut rare.split_in,
            Key::SplitOut => &mut rare.split_out,
            Key::Sequence => &mut rare.sequence,
            Key::Class => &mut rare.class,
            _ => return None,
        })
    }
}

/// Three whole numbers.
fn triple(value: &Value) -> Option<[u32; 3]> {
    let numbers = value.as_array()?;
    let at = |index: usize| numbers.get(index)?.as_u64()?.try_into().ok();
    Some([at(0)?, at(1)?, at(2)?])
}

/// A key; those of rare arguments from `Name` on, those of collectives from `Collective` on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Other,
    Device,
    Stream,
    Correlation,
    ExternalId,
    Bytes,
    Call,
    Grid,
    Shapes,
    Dtypes,
    Values,
    Name,
    TotalAllocated,
    DeviceType,
    DeviceId,
    WaitOnStream,
    WaitOnRecord,
    Collective,
    ElementsIn,
    ElementsOut,
    Dtype,
    GroupSize,
    Group,
    GroupDescription,
    Ranks,
    SplitIn,
    SplitOut,
    Sequence,
    Class,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_bytes<E>(self, key: &[u8]) -> Result<Key, E> {
        Ok(match key {
            b"device" => Key::Device,
            b"stream" => Key::Stream,
            b"correlation" => Key::Correlation,
            b"External id" | b"external id" => Key::ExternalId,
            b"bytes" => Key::Bytes,
            b"call" => Key::Call,
            b"grid" => Key::Grid,
            b"Input Dims" | b"Input dims" => Key::Shapes,
            b"Input type" | b"Input types" => Key::Dtypes,
            b"Concrete Inputs" => Key::Values,
            b"name" => Key::Name,
            b"Total Allocated" => Key::TotalAllocated,
            b"Device Type" => Key::DeviceType,
            b"Device Id" => Key::DeviceId,
            b"wait_on_stream" => Key::WaitOnStream,
            b"wait_on_cuda_event_record_corr_id" => Key::WaitOnRecord,
            b"Collective name" => Key::Collective,
            b"In msg nelems" => Key::ElementsIn,
            b"Out msg nelems" => Key::ElementsOut,
            b"dtype" => Key::Dtype,
            b"Group size" => Key::GroupSize,
            b"Process Group Name" => Key::Group,
            b"Process Group Description" => Key::GroupDescription,
            b"Process Group Ranks" => Key::Ranks,
            b"In split size" => Key::SplitIn,
            b"Out split size" => Key::SplitOut,
            b"Seq" => Key::Sequence,
            b"class" => Key::Class,
            _ => Key::Other,
        })
    }
}
