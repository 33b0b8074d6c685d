//! What frames of process groups say of the kernels launched in them, in each schema.

use super::*;
use crate::trace::Communication;
use crate::work::CollectiveKind;

const GENERIC: &str = "ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)";

/// A frame on a thread.
fn frame(name: &str, (tid, ts, end): (u64, u64, u64), arguments: &str) -> String {
    let category = if name.starts_with("nccl:") { "user_annotation" } else { "cpu_op" };
    let dur = end - ts;
    format!(
        r#"{{"ph":"X","cat":"{category}","name":"{name}","pid":9,"tid":{tid},"ts":{ts},
        "dur":{dur},"args":{{{arguments}}}}}"#
    )
}

/// A kernel at 100 us and later, and its launch.
fn launched(name: &str, (tid, ts): (u64, u64), correlation: u64, arguments: &str) -> String {
    let kernel = kernel(name, 100 + 10 * correlation, correlation, arguments);
    format!(
        r#"{{"ph":"X","cat":"cuda_runtime","name":"cudaLaunchKernel","pid":9,"tid":{tid},
        "ts":{ts},"dur":1,"args":{{"correlation":{correlation}}}}},{kernel}"#
    )
}

fn kernel(name: &str, ts: u64, correlation: u64, arguments: &str) -> String {
    format!(
        r#"{{"ph":"X","cat":"kernel","name":"{name}","pid":0,"tid":20,"ts":{ts},"dur":5,
        "args":{{"device":0,"stream":20,"correlation":{correlation}{arguments}}}}}"#
    )
}

/// What is known of the kernels of a file, with their formats; the same whether frames are kept.
fn heard(parts: &[String]) -> Vec<(Communication, Option<String>)> {
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let text = events(&parts);
    let classes = Classes::shipped();
    let read = |frames: bool| {
        let options = Options { classes: &classes, frames, shapes: frames };
        let recording = open("a.json", text.as_bytes()).unwrap().read(None, &options).unwrap();
        // Of kernels without a launch it says that, and nothing else.
        let others = recording.partial.iter().filter(|told| !told.contains("have no launch"));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
        let name =
            |said: &Communication| Some(recording.timeline.labels.name(said.dtype?).to_owned());
        let said = recording.communications.iter();
        let all: Vec<_> = said.map(|said| (said.clone(), name(said))).collect();
        all
    };
    let (with, without) = (read(true), read(false));
    let plain = |all: &[(Communication, Option<String>)]| -> Vec<_> {
        let one = |it: &(Communication, Option<String>)| {
            (it.0.kind, it.0.bytes, it.0.group_size, it.0.sequence, it.1.clone())
        };
        all.iter().map(one).collect()
    };
    assert_eq!(plain(&with), plain(&without));
    with
}

/// Operation, bytes and format of the only kernel.
fn only(parts: &[String]) -> (Option<CollectiveKind>, Option<f64>, Option<String>) {
    let heard = heard(parts);
    assert_eq!(heard.len(), 1);
    let (said, dtype) = &heard[0];
    (said.kind, said.bytes.map(|bytes| bytes.value()), dtype.clone())
}

fn name(dtype: &str) -> Option<String> {
    Some(dtype.to_owned())
}

const SEND_RECV: &str = "ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*)";
const OLD_TYPES: &str = r#""Scalar","Scalar","Scalar","","","""#;

#[test]
fn the_old_schema_says_the_tensor_that_goes_in() {
    let exchange = [
        frame(
            "c10d::alltoall_base_",
            (4, 1, 30),
            r#""Input Dims":[[24],[24],[],[],[],[]],
            "Input type":["long int","long int","","","","Scalar"]"#,
        ),
        frame(
            "record_param_comms",
            (4, 2, 29),
            &format!(
                r#""Input Dims":[[24],[],[],[],[],[],[]],"Input type":["long int",{OLD_TYPES}]"#
            ),
        ),
        frame("nccl:all_to_all", (4, 3, 28), r#""Input Dims":[[24]],"Input type":["long int"]"#),
        launched(SEND_RECV, (4, 10), 1, r#","External id":1"#),
    ];
    let expected = (Some(CollectiveKind::AllToAll), Some(192.0), name("int64"));
    assert_eq!(only(&exchange), expected);
    // Without the annotation the arguments of the operators do.
    assert_eq!(only(&[&exchange[..2], &exchange[3..]].concat()), expected);
    let reduce = [
        frame(
            "record_param_comms",
            (4, 2, 29),
            &format!(
                r#""Input Dims":[[],[],[],[],[],[],[]],"Input type":["TensorList",{OLD_TYPES}]"#
            ),
        ),
        frame("nccl:all_reduce", (4, 3, 28), r#""Input Dims":[[4,8]],"Input type":["c10::Half"]"#),
        launched(GENERIC, (4, 10), 1, ""),
    ];
    let expected = (Some(CollectiveKind::AllReduce), Some(64.0), name("fp16"));
    assert_eq!(only(&reduce), expected);
}

const ARGUMENTS: &str = r#""Collective name":"allreduce","In msg nelems":1000,
    "Out msg nelems":1000,"dtype":"BFloat16","Group size":8,"Process Group Name":"3",
    "Process Group Ranks":"[0, 1, 2, 3, 4, 5, 6, 7]","Seq":17"#;

#[test]
fn the_new_schema_says_all_where_the_kernel_says_nothing() {
    let heard = heard(&[
        frame("record_param_comms", (5, 2, 29), ARGUMENTS),
        // What another thread does at that time is another collective.
        frame("nccl:broadcast", (4, 3, 28), r#""Input Dims":[[7]],"Input type":["float"]"#),
        launched(GENERIC, (5, 10), 1, ""),
    ]);
    let (said, dtype) = &heard[0];
    assert_eq!(said.kind, Some(CollectiveKind::AllReduce));
    assert_eq!(said.bytes.map(|bytes| bytes.value()), Some(2000.0));
    assert_eq!((said.group_size, said.sequence), (Some(8), Some(17)));
    assert!(said.communicator.is_some() && said.ranks.is_some());
    assert_eq!(*dtype, name("bf16"));
}

#[test]
fn the_kernel_s_own_arguments_win() {
    let own = r#","Collective name":"_allgather_base","In msg nelems":10,"Out msg nelems":40,
        "dtype":"Float","Group size":4"#;
    let parts =
        [frame("record_param_comms", (4, 2, 29), ARGUMENTS), launched(GENERIC, (4, 10), 1, own)];
    let expected = (Some(CollectiveKind::AllGather), Some(160.0), name("fp32"));
    assert_eq!(only(&parts), expected);
}

#[test]
fn several_kernels_of_one_operator_have_no_known_size_whoever_says_it() {
    let own = ARGUMENTS.replace('\n', " ");
    let heard = heard(&[
        frame("record_param_comms", (4, 2, 29), ARGUMENTS),
        launched(GENERIC, (4, 10), 1, &format!(",{own}")),
        launched(GENERIC, (4, 12), 2, &format!(",{own}")),
    ]);
    assert_eq!(heard.len(), 2);
    for (said, _) in heard {
        assert_eq!(said.kind, Some(CollectiveKind::AllReduce));
        assert_eq!((said.bytes, said.sequence, said.group_size), (None, None, Some(8)));
    }
}

#[test]
fn a_coalesced_group_has_a_size_only_where_one_call_says_all_of_it() {
    // Each is called on its own; the kernel is launched when the group ends.
    let apart = [
        frame("nccl:all_reduce", (4, 1, 3), r#""Input Dims":[[16]],"Input type":["float"]"#),
        frame("nccl:all_reduce", (4, 4, 6), r#""Input Dims":[[16]],"Input type":["float"]"#),
        frame("nccl:coalesced", (4, 7, 20), ""),
        launched(GENERIC, (4, 10), 1, ""),
    ];
    assert_eq!(only(&apart), (None, None, None));
    let together = [
        frame(
            "nccl:allreduce_coalesced",
            (4, 7, 20),
            r#""Input Dims":[[16],[4,4],[]],"Input type":["float","float","float"]"#,
        ),
        launched(GENERIC, (4, 10), 1, ""),
    ];
    let expected = (Some(CollectiveKind::AllReduce), Some(132.0), name("fp32"));
    assert_eq!(only(&together), expected);
}

#[test]
fn a_shard_is_no_size_until_it_is_known_how_many_there_are() {
    let shard = r#""Input Dims":[[10]],"Input type":["float"]"#;
    let annotation = frame("nccl:_all_gather_base", (4, 3, 28), shard);
    let kernel = launched(GENERIC, (4, 10), 1, "");
    let alone = only(&[annotation.clone(), kernel.clone()]);
    assert_eq!(alone, (Some(CollectiveKind::AllGather), None, name("fp32")));
    let gathered = r#""Input Dims":[[80],[10],[]],"Input type":["float","float",""]"#;
    let operator = frame("c10d::_allgather_base_", (4, 2, 29), gathered);
    let both = heard(&[annotation.clone(), operator, kernel.clone()]);
    assert_eq!(both[0].0.bytes.map(|bytes| bytes.value()), Some(320.0));
    assert_eq!(both[0].0.group_size, Some(8));
    // The number of ranks is the last argument of newer versions.
    let types = r#""Input Dims":[[10],[],[],[],[],[],[],[],[],[]],"Input type":["float","","",
        "Scalar","","ScalarList","ScalarList","Scalar","Scalar","Scalar"],
        "Concrete Inputs":["","","","0","","[]","[]","0","1","4"]"#;
    let numbered = frame("record_param_comms", (4, 2, 29), types);
    assert_eq!(only(&[annotation, numbered, kernel]).1, Some(160.0));
}

#[test]
fn a_kernel_without_a_launch_is_of_the_operator_whose_number_it_bears() {
    let operator =
        frame("record_param_comms", (4, 2, 29), &format!(r#""External id":77,{ARGUMENTS}"#));
    let numbered = kernel(GENERIC, 100, 1, r#","External id":77"#);
    let expected = (Some(CollectiveKind::AllReduce), Some(2000.0), name("bf16"));
    assert_eq!(only(&[operator.clone(), numbered.clone()]), expected);
    // Old versions write the correlation there.
    let old = kernel(GENERIC, 100, 77, r#","External id":77"#);
    assert_eq!(only(&[operator.clone(), old]), (None, None, None));
    let another = kernel(GENERIC, 110, 2, r#","External id":77"#);
    let both = heard(&[operator, numbered, another]);
    assert!(both.iter().all(|(said, _)| said.bytes.is_none() && said.kind.is_some()));
}

#[test]
fn a_kernel_without_host_is_of_the_annotation_whose_shadow_is_around_it() {
    let shadow = |tid: u64| {
        format!(
            r#"{{"ph":"X","cat":"gpu_user_annotation","name":"nccl:all_gather","pid":0,
            "tid":{tid},"ts":99,"dur":7,"args":{{"External id":5}}}}"#
        )
    };
    let kernel = kernel(GENERIC, 100, 1, "");
    let on_stream = only(&[shadow(20), kernel.clone()]);
    assert_eq!(on_stream, (Some(CollectiveKind::AllGather), None, None));
    assert_eq!(only(&[shadow(21), kernel]), (None, None, None));
}

#[test]
fn parts_of_different_lengths_are_said_to_differ() {
    let arguments = |splits: &str| {
        format!(
            r#""Collective name":"all_to_allv","In msg nelems":12,"Out msg nelems":12,
            "dtype":"Float","In split size":"{splits}","Out split size":"[]""#
        )
    };
    for (splits, differ) in [("[]", false), ("[6, 6]", false), ("[4, 8]", true)] {
        let operator = frame("record_param_comms", (4, 2, 29), &arguments(splits));
        let heard = heard(&[operator, launched(SEND_RECV, (4, 10), 1, "")]);
        assert_eq!(heard[0].0.is_uneven, differ, "{splits}");
        assert_eq!(heard[0].0.kind, Some(CollectiveKind::AllToAll));
    }
}
