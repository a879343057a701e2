"""The resources of a deployment: what setup makes, in this order, and cleanup removes, in the opposite one.

Which of them a deployment has depends on its settings: :meth:`Resource.wanted`.
"""

from __future__ import annotations

from minimoto.aws.resources.alarms import Alarm, dead_letters, no_healthy_node, oldest_message
from minimoto.aws.resources.baked_image import BakedImage
from minimoto.aws.resources.buckets import Bucket
from minimoto.aws.resources.dashboard import Dashboard
from minimoto.aws.resources.key_pair import KeyPair
from minimoto.aws.resources.launch_template import LaunchTemplate
from minimoto.aws.resources.machines import Machine
from minimoto.aws.resources.queues import TaskQueue
from minimoto.aws.resources.resource import Resource
from minimoto.aws.resources.roles import MachineProfile, MachineRole, Permissions
from minimoto.aws.resources.scaling_group import ScalingGroup, TerminationHook
from minimoto.aws.resources.scaling_policies import (
    ScalingAlarm,
    ScalingPolicy,
    backlog,
    jobs_without_node,
    no_jobs,
    rest,
    wake,
)
from minimoto.aws.resources.security_group import SecurityGroup
from minimoto.aws.resources.software import Software
from minimoto.aws.resources.table import Table
from minimoto.aws.resources.topic import Topic

RESOURCES: tuple[Resource, ...] = (
    TaskQueue("dead-letters", "dead-letter queue"),
    TaskQueue("tasks", "queue", dead_letters="dead-letters"),
    Bucket("input"),
    Bucket("output"),
    Table(),
    Topic(),
    SecurityGroup(),
    KeyPair(),
    MachineRole("service"),
    Permissions("service"),
    MachineProfile("service"),
    MachineRole("client"),
    Permissions("client"),
    MachineProfile("client"),
    # Its permissions come later: they name the launch template.
    MachineRole("watchdog"),
    MachineProfile("watchdog"),
    # All three boot while the first of them is installed.
    Machine("service"),
    Machine("client"),
    Machine("watchdog"),
    Software("service-program", ["service"]),
    # AWS copies the disk while what follows is done; the end of setup waits for it.
    BakedImage(),
    LaunchTemplate(),
    Permissions("watchdog"),
    Software("programs", ["client", "watchdog"]),
    # Only with policy = asg. It starts machines at once, so what they need is there before.
    ScalingGroup(),
    TerminationHook(),
    ScalingPolicy("backlog-policy", "policy for the backlog", backlog),
    ScalingPolicy("wake-policy", "policy for the first node", wake),
    ScalingPolicy("rest-policy", "policy for no jobs", rest),
    ScalingAlarm("wake-alarm", "alarm for jobs without a node", jobs_without_node),
    ScalingAlarm("rest-alarm", "alarm for no jobs", no_jobs),
    Alarm("dead-letters-alarm", "alarm for dead letters", dead_letters),
    Alarm("oldest-task-alarm", "alarm for tasks that wait too long", oldest_message),
    Alarm("no-node-alarm", "alarm for a fleet without a healthy node", no_healthy_node),
    Dashboard(),
)
