"""Reading and damaging WAL segments from the outside (the format of etcd: 8 bytes little-endian
length with the padding in its top byte, a protobuf Record, padding to 8 bytes)."""

import struct

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


def _table():
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


_TABLE = _table()


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def records(path):
    """(offset, bytes of the record without padding) of all records up to the zero length."""
    with open(path, "rb") as file:
        data = file.read()
    found, offset = [], 0
    while offset + 8 <= len(data):
        length = struct.unpack_from("<Q", data, offset)[0]
        if length == 0:
            break
        size, padding = length & ((1 << 56) - 1), (length >> 56) & 7
        found.append((offset, data[offset + 8:offset + 8 + size]))
        offset += 8 + size + padding
    return found


def end(path):
    """The offset behind the last record."""
    offset, record = records(path)[-1]
    return offset + 8 + (len(record) + 7) // 8 * 8


def last_crc(path):
    """The rolling checksum that the last record carries (its field 2)."""
    record = records(path)[-1][1]
    at = record.index(0x10, 1) + 1 if record[0] == 0x08 else 1
    value, shift = 0, 0
    while True:
        value |= (record[at] & 0x7F) << shift
        if record[at] < 0x80:
            return value
        at, shift = at + 1, shift + 7


def _varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def append(path, kind, data):
    """Writes a sound record of the given type behind the last one, in place of the zeros there."""
    crc = crc32c(data, last_crc(path))
    record = (b"\x08" + _varint(kind) + b"\x10" + _varint(crc)
              + b"\x1a" + _varint(len(data)) + data)
    padding = -len(record) % 8
    length = len(record) | ((0x80 | padding) << 56 if padding else 0)
    overwrite(path, end(path), struct.pack("<Q", length) + record + bytes(padding))


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def flip(path, offset):
    """Inverts one byte."""
    with open(path, "rb") as file:
        file.seek(offset)
        byte = file.read(1)[0]
    overwrite(path, offset, bytes([byte ^ 0xFF]))
