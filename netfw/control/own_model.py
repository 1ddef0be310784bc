"""The operations that are ours alone: several resources in one transaction, history, timed exceptions. PURE.

They travel as the vendor's do, under a target prefix of their own, and are in no description for SDKs: what the
vendor's model has stays exactly that. `netfw apply`, `allow`, `rollback` and their like are made of
them. Not here: what they do (`own_operations`).
"""

from __future__ import annotations

from netfw.control import resource_shapes as shapes
from netfw.control.service_model import Operation, Resource
from netfw.control.shapes import Document, Flag, ListOf, Member, Moment, Number, Shape, Structure, Text

MOST_RECORDS = 1000
"""More are read from the file: it is not for the process that serves to print them."""
_MOST_GENERATIONS = 10_000
_Members = dict[str, Shape]


def _structure(name: str, members: _Members, required: str = "") -> Structure:
    needed = required.split()
    return Structure(name, tuple(Member(one, shape, required=one in needed) for one, shape in members.items()))


# Owner, Ticket and NotAfter, as rules have them.
_ANNOTATIONS: _Members = {member.name: member.shape for member in shapes.RULE.members if member.extension}
GENERATION = Number("Generation", own_least=0)
POLICY_DOCUMENT = Document("PolicyDocument")
RECORD = Document("Record")
_LINE = Text("Line")
_ID = Text("ExchangeId", 1, 64)
_NAMES = shapes.RESOURCE_NAME_LIST
DIFFERENCE = _structure(
    "Difference",
    {
        "Kind": Text("DifferenceKind", words=("rule group", "configuration", "proxy")),
        "Name": shapes.RESOURCE_NAME,
        "Change": Text("DifferenceChange", words=("added", "removed", "changed")),
        "Details": ListOf("Lines", _LINE),
    },
)
_DIFFERENCES = ListOf("Differences", DIFFERENCE)
GENERATION_SUMMARY = _structure(
    "GenerationSummary",
    {
        "Generation": GENERATION,
        "At": Moment("At"),
        "Editor": _LINE,
        "Summary": _LINE,
        "Changed": ListOf("ChangedResources", _structure("ChangedResource", {"Kind": _LINE, "Name": _LINE})),
    },
)
GROUP_SUMMARY = _structure(
    "RuleGroupSummary",
    {
        "Name": shapes.RESOURCE_NAME,
        "Arn": shapes.RESOURCE_ARN,
        "Description": shapes.DESCRIPTION,
        "Rules": _structure(
            "RuleNumbers", {phase: Number("RuleNumber") for phase in ("PreDNS", "PreREQUEST", "PostRESPONSE")}
        ),
        "AttachedTo": _NAMES,
        "Tags": shapes.TAG_LIST,
        "UpdateTime": shapes.UPDATE_TIME,
    },
)
TIMED_EXCEPTION = _structure(
    "TimedException",
    {
        "Name": shapes.RESOURCE_NAME,
        "Domain": _LINE,
        "Description": shapes.DESCRIPTION,
        **_ANNOTATIONS,
        "Over": Flag("Over"),
    },
)
_EXCEPTIONS = ListOf("TimedExceptions", TIMED_EXCEPTION)
_GROUP: _Members = {"ProxyRuleGroupName": shapes.RESOURCE_NAME}
_CONFIGURATION: _Members = {"ProxyConfigurationName": shapes.RESOURCE_NAME}
_PROXY: _Members = {"ProxyName": shapes.RESOURCE_NAME}
_GENERATION: _Members = {"Generation": GENERATION}
_TOKEN: _Members = {"UpdateToken": shapes.UPDATE_TOKEN}


def _operation(
    name: str,
    about: str,
    takes: _Members,
    gives: _Members,
    *,
    required: str = "",
    resource: Resource = Resource.POLICY,
    writes: bool = False,
    errors: tuple[str, ...] = (),
) -> Operation:
    codes = ("InvalidRequestException", "InternalServerError", "ThrottlingException", "UnsupportedOperationException")
    return Operation(
        name,
        about,
        resource,
        writes,
        _structure(f"{name}Request", takes, required),
        _structure(f"{name}Response", gives),
        codes + errors,
        own=True,
    )


_NOT_FOUND = ("ResourceNotFoundException",)
_CHANGES = ("InvalidTokenException", "LimitExceededException")

OWN_OPERATIONS: tuple[Operation, ...] = (
    _operation(
        "AllowForTime",
        "Lets a destination pass for a time: a rule with an end in a group of such rules, which is made and attached "
        "in front of all others where it is not yet. Without ProxyConfigurationName the configuration is the one that "
        "ProxyName follows.",
        {
            "Domain": Text("Domain", 1, 512),
            "Description": shapes.DESCRIPTION,
            **_ANNOTATIONS,
            **_CONFIGURATION,
            **_PROXY,
            **_GROUP,
        },
        {"TimedException": TIMED_EXCEPTION, **_GROUP, **_GENERATION},
        required="Domain NotAfter Description",
        writes=True,
        errors=(*_NOT_FOUND, "LimitExceededException"),
    ),
    _operation(
        "ApplyPolicy",
        "Makes the groups and the configuration of a policy document what the document says, in one generation; what "
        "it does not name stays. UpdateToken is that of PlanPolicy: if any of these resources was changed since, "
        "nothing is done. ProxyName is made, and follows the configuration, where there is no proxy of this name.",
        {"Document": POLICY_DOCUMENT, **_PROXY, **_TOKEN},
        {"Differences": _DIFFERENCES, **_GENERATION},
        required="Document UpdateToken",
        writes=True,
        errors=_CHANGES,
    ),
    _operation(
        "CompareGenerations",
        "Shows what generation NewGeneration, the newest by default, has differently from OldGeneration.",
        {"OldGeneration": GENERATION, "NewGeneration": GENERATION},
        {"Differences": _DIFFERENCES, "OldGeneration": GENERATION, "NewGeneration": GENERATION},
        required="OldGeneration",
        errors=_NOT_FOUND,
    ),
    _operation(
        "EndExceptions",
        "Ends timed exceptions by name, and with Over those whose time is over: their rules are taken out.",
        {"Names": _NAMES, "Over": Flag("Over"), **_GROUP},
        {"TimedExceptions": _EXCEPTIONS, **_GENERATION},
        writes=True,
        errors=_NOT_FOUND,
    ),
    _operation(
        "ExportPolicy",
        "Shows a configuration and its rule groups as a policy document, with AllGroups also those that are not "
        "attached. Without ProxyConfigurationName it is the one that ProxyName follows.",
        {**_CONFIGURATION, **_PROXY, "AllGroups": Flag("AllGroups")},
        {"Document": POLICY_DOCUMENT},
        errors=_NOT_FOUND,
    ),
    _operation(
        "ExplainExchange",
        "Tells why an exchange was decided as it was, by the id that the client saw: the record, the rules as they are "
        "in force now, and what to do, as data and as lines of text. Without the right `decrypted` what only "
        "decryption shows is masked.",
        {"Id": _ID},
        {"Report": Document("ExchangeReport"), "Lines": ListOf("Lines", _LINE)},
        required="Id",
        resource=Resource.RECORDS,
        errors=_NOT_FOUND,
    ),
    _operation(
        "FindRecord",
        "Finds the record of an exchange by the id that the client saw. Decrypted: nothing in it is masked. Notes are "
        "of the search.",
        {"Id": _ID},
        {"Record": RECORD, "Decrypted": Flag("Decrypted"), "Notes": ListOf("Lines", _LINE)},
        required="Id",
        resource=Resource.RECORDS,
        errors=_NOT_FOUND,
    ),
    _operation(
        "ListExceptions",
        "Lists the timed exceptions of a group, those that are over too, until they are ended.",
        _GROUP,
        {"TimedExceptions": _EXCEPTIONS},
    ),
    _operation(
        "ListGenerations",
        "Lists the generations of the policy, the newest first: who made them, when, and what they changed.",
        {"MaxResults": Number("MaxGenerations", own_least=1, own_most=_MOST_GENERATIONS), "Before": GENERATION},
        {"Generations": ListOf("Generations", GENERATION_SUMMARY)},
    ),
    _operation(
        "PlanPolicy",
        "Shows what ApplyPolicy would change, and gives the token to do it with. Changes nothing.",
        {"Document": POLICY_DOCUMENT, **_PROXY},
        {"Differences": _DIFFERENCES, **_TOKEN},
        required="Document",
    ),
    _operation(
        "PruneGenerations",
        "Takes all but the newest generations, and the state before them, out of the history for good.",
        {"Keep": Number("Keep", own_least=1, own_most=1_000_000)},
        {"OldestGeneration": GENERATION, "Generations": Number("Taken"), "Documents": Number("Taken")},
        required="Keep",
        writes=True,
    ),
    _operation(
        "ReadRecords",
        "Shows the latest records, the oldest first, of those that are asked for; what only decryption shows is masked "
        "without the right `decrypted`. Rule is GROUP/RULE, one of them alone, or the word of an error; Clients are "
        "addresses, networks and users.",
        {
            "MaxResults": Number("MaxRecords", own_least=1, own_most=MOST_RECORDS),
            "Since": Moment("Since"),
            "Until": Moment("Until"),
            "Denied": Flag("Denied"),
            "Alerts": Flag("Alerts"),
            "Clients": ListOf("Clients", Text("Client", 1, 512), most=100),
            "Host": Text("Host", 1, 512),
            "Rule": Text("Rule", 1, 512),
        },
        {"Records": ListOf("Records", RECORD), "Decrypted": Flag("Decrypted")},
        resource=Resource.RECORDS,
    ),
    _operation(
        "RollBack",
        "Makes groups and configurations what they were at a generation, as a new generation. Proxies stay. "
        "SeenGeneration is the newest that the caller knows of: if there is another one, nothing is done.",
        {**_GENERATION, "SeenGeneration": GENERATION},
        {"Differences": _DIFFERENCES, **_GENERATION},
        required="Generation SeenGeneration",
        writes=True,
        errors=(*_NOT_FOUND, "InvalidTokenException"),
    ),
    _operation(
        "SummarizeRuleGroups",
        "Shows of every rule group how many rules it has, what it is attached to, and when it was changed.",
        {},
        {"RuleGroupSummaries": ListOf("RuleGroupSummaries", GROUP_SUMMARY)},
    ),
)
