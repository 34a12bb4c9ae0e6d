"""Reads a file of docs/TABLE_IMAGE.md."""
import struct
import zlib

_HEADER = struct.Struct("<8sIIQIIIIQQQ")
_UNIT = struct.Struct("<64s16sII")
_REGISTER = struct.Struct("<16sIIQQ")
_REQUESTER = struct.Struct("<64sIIII")
_PAGE_BYTES = 4096


def _text(field):
    return field.rstrip(b"\0").decode()


class Unit:
    def __init__(self, name, architecture, physical_address_bits):
        self.name = name
        self.architecture = architecture
        self.physical_address_bits = physical_address_bits
        self.registers = {}  # Value by name.
        self.offsets = {}


class Image:
    """What a file holds. ValueError: it is broken."""

    def __init__(self, data):
        if len(data) < _HEADER.size + 4:
            raise ValueError("too short")
        (checksum,) = struct.unpack("<I", data[-4:])
        if zlib.crc32(data[:-4]) != checksum:
            raise ValueError("the checksum is wrong")
        (magic, version, header_bytes, flags, units, registers, requesters, _, pages, _,
         _) = _HEADER.unpack_from(data)
        if magic != b"VIOMMUTI" or version != 1:
            raise ValueError("no image of version 1")
        self.guest_tables_left_out = bool(flags & 1)
        self._data, self._at = data[:-4], header_bytes
        self.units = []
        for _ in range(units):
            name, architecture, bits, _ = self._take(_UNIT)
            self.units.append(Unit(_text(name), _text(architecture), bits))
        for _ in range(registers):
            name, unit, _, offset, value = self._take(_REGISTER)
            self.units[unit].registers[_text(name)] = value
            self.units[unit].offsets[_text(name)] = offset
        self.requesters = {}  # (unit, source id, PASID bits) by device.
        for _ in range(requesters):
            name, unit, source_id, pasid_bits, _ = self._take(_REQUESTER)
            self.requesters[_text(name)] = (self.units[unit], source_id, pasid_bits)
        self._pages = {}
        for _ in range(pages):
            (address,) = self._take(struct.Struct("<Q"))
            self._pages[address] = self._data[self._at:self._at + _PAGE_BYTES]
            self._at += _PAGE_BYTES
        if self._at != len(self._data) or len(self._pages) != pages:
            raise ValueError("not as long as its header says")

    def _take(self, layout):
        fields = layout.unpack_from(self._data, self._at)
        self._at += layout.size
        return fields

    @property
    def page_addresses(self):
        return sorted(self._pages)

    def word(self, address):
        """The 64-bit word at a physical address. KeyError: its page is not in the image."""
        return struct.unpack_from("<Q", self._pages[address & ~0xfff], address & 0xfff)[0]

    def words(self, address, count):
        return [self.word(address + 8 * i) for i in range(count)]
