//! What NCCL's tuner believes of a scale-up fabric: where it changes protocol rests on this.
//!
//! The tuner (NVIDIA/nccl, `src/graph/tuning.cc`) takes for each protocol a latency a step and a
//! bandwidth, and picks the least sum. Its numbers are not what the machine does, but they say from
//! which size on which protocol runs, exactly and on every machine alike.

use super::CollectiveShape;

/// A scale-up fabric by generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fabric {
    /// V100 without a switch: a hybrid cube mesh.
    NvLink2,
    /// A100.
    NvLink3,
    /// H100, H200.
    NvLink4,
    /// B200 and later.
    NvLink5,
    /// PCI Express, whatever its generation: the rate is learned.
    Pcie,
}

/// What the tuner believes: rates in bytes/us, latencies in us.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Belief {
    /// Rate of all rings together.
    pub(super) bus: f64,
    /// Most that LL moves (`llMaxBws`).
    pub(super) ll: f64,
    /// Most that LL128 moves: 0.92 of the bus or 36 GB/s for each of 16 channels
    /// (`perChMaxRingLL128Bws`); nothing where it is off (PCIe).
    pub(super) ll128: f64,
    /// A step of LL, LL128 and Simple (`hwLat`, ring).
    step: [f64; 3],
}

/// Start-up that the tuner counts for LL, LL128 and Simple (`baseLat`, ring), us.
const BASE: [f64; 3] = [6.6, 14.0, 8.4];

/// Sizes at which the protocol changes, bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Changes {
    /// From LL to the next.
    pub(super) from_ll: f64,
    /// To Simple; not below `from_ll`.
    pub(super) to_simple: f64,
}

impl Fabric {
    pub(super) const fn belief(self) -> Belief {
        const NVLINK: [f64; 3] = [0.6, 1.9, 3.4];
        match self {
            Self::NvLink2 => Belief { bus: 120e3, ll: 39e3, ll128: 110e3, step: NVLINK },
            Self::NvLink3 => Belief { bus: 240e3, ll: 87.7e3, ll128: 220.8e3, step: NVLINK },
            Self::NvLink4 => Belief { bus: 360e3, ll: 141e3, ll128: 331.2e3, step: NVLINK },
            Self::NvLink5 => Belief { bus: 720e3, ll: 282e3, ll128: 576e3, step: NVLINK },
            Self::Pcie => Belief { bus: 24e3, ll: 12e3, ll128: 0.0, step: [1.0, 2.5, 5.7] },
        }
    }

    /// Share of all links of a node that rings of some ranks can use: all behind a switch; in the
    /// cube mesh of eight V100 the rings that fit (1, 2, 4, 2, 2, 4 and 6 of 6 in nccl-tests of 2
    /// to 8 GPUs, vTrain@f8dda84).
    pub(super) fn rings(self, ranks: f64) -> f64 {
        const CUBE_MESH: [f64; 7] = [1.0, 2.0, 4.0, 1.7, 2.0, 4.0, 6.0];
        match self {
            Self::NvLink2 => {
                let place = (ranks as usize).clamp(2, 8) - 2;
                CUBE_MESH[place] / CUBE_MESH[6]
            }
            _ => 1.0,
        }
    }

    /// Where the tuner changes protocol for a shape.
    pub(super) fn changes(self, shape: &CollectiveShape) -> Changes {
        let Belief { bus, ll, ll128, step } = self.belief();
        let latency = |protocol: usize| BASE[protocol] + step[protocol] * shape.steps();
        // The size at which a slower start is paid back by a higher rate.
        let change = |from: (usize, f64), to: (usize, f64)| {
            let gain = shape.wire() * (1.0 / from.1 - 1.0 / to.1);
            (latency(to.0) - latency(from.0)) / gain
        };
        let simple = change((0, ll), (2, bus));
        if ll128 <= 0.0 {
            return Changes { from_ll: simple, to_simple: simple };
        }
        let from_ll = simple.min(change((0, ll), (1, ll128)));
        Changes { from_ll, to_simple: change((1, ll128), (2, bus)).max(from_ll) }
    }
}
