"""RangeStream, which 3.4.23 does not have: on etcdd it must agree with Range (KV-060..067)."""

import wire

RangeRequest = wire.rpc.RangeRequest


def _refusal(request):
    """The text an RPC of these options is refused with, or None."""
    if request.sort_order == RangeRequest.DESCEND or request.sort_target != RangeRequest.KEY:
        return "RangeStream does not support custom sort orders"
    if (request.min_mod_revision or request.max_mod_revision or request.min_create_revision
            or request.max_create_revision):
        return "RangeStream does not support revision filters"
    return None


def difference(client, request, range_answer):
    """None when RangeStream gives in pieces what Range gave (an OK answer), else what is wrong."""
    answer, messages = client.collect("RangeStream", request)
    refusal = _refusal(request)
    if refusal is not None:
        wrong = (answer.code, answer.text) != ("Unimplemented", refusal) or messages
        return f"expected Unimplemented {refusal}, got {answer}" if wrong else None
    if not answer.ok:
        return f"expected what Range gave, got {answer}"
    replies = [message.range_response for message in messages]
    for reply in replies[:-1]:
        if reply.HasField("header") or reply.more or reply.count:
            return f"more than pairs before the last message:\n{reply}"
    merged = wire.rpc.RangeResponse()
    for reply in replies:
        merged.MergeFrom(reply)
    if merged != range_answer.reply:
        return f"Range gave\n{wire.show(range_answer.reply)}merged\n{wire.show(merged)}"
    return None
