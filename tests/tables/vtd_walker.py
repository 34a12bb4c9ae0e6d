"""What Intel VT-d hardware in scalable mode makes of an access, by the tables in an image.

Written from the specification (VT-d 3.4 to 3.8, 9), for tables without reserved bits, for requests
of users: no rights of supervisors, no caches.
"""

_ADDRESS = 0x000f_ffff_ffff_f000
_PAGE = 4096


class Fault(Exception):
    """The access stops at the entry that was read last, unless it says at which."""

    def __init__(self, step=None):
        super().__init__(str(step))
        self.step = step


class Walk:
    """One access: steps are (kind, level, physical address, guest address or None)."""

    def __init__(self, image, unit, source_id, pasid, write):
        self.image = image
        self.registers = unit.registers
        self.host_bits = unit.physical_address_bits
        self.source_id = source_id
        self.pasid = pasid
        self.write = write
        self.steps = []
        self.entry = None

    def translate(self, address):
        """The physical address; "message" for an interrupt. Raises Fault."""
        if self.pasid is None and address >> 20 == 0xfee:
            if self.write:
                return "message"
            raise Fault()
        self.entry = self._pasid_entry()
        kind = self.entry[0] >> 6 & 7
        if kind == 4:  # Pass-through: to a host address as it is.
            if address >> self.host_bits:
                raise Fault()
            return address
        if kind == 2:
            self._check_width(address)
            return self._second_stage(address, self.write)
        page = self._first_stage(address, nested=kind == 3)
        if kind != 3:
            return page
        self._check_width(page)
        return self._second_stage(page, self.write)

    def _read(self, kind, level, address, guest=None, words=1):
        self.steps.append((kind, level, address, guest))
        return self.image.words(address, words)

    def _pasid_entry(self):
        root_table = self.registers["RTADDR"]
        assert root_table >> 10 & 3 == 1, "scalable mode"
        (half,) = self._read("root", 0, (root_table & ~0xfff) + (self.source_id >> 7) * 8)
        self._present(half)
        context = self._read("context", 0, (half & ~0xfff) + (self.source_id & 0x7f) * 32, words=4)
        self._present(context[0])
        if self.pasid is not None and not context[0] & 1 << 3:
            raise Fault()
        number = context[1] & 0xfffff if self.pasid is None else self.pasid
        if number >> 6 >= 1 << (context[0] >> 9 & 7) + 7:
            raise Fault()
        (directory,) = self._read("pasid-directory", 0, (context[0] & ~0xfff) + (number >> 6) * 8)
        self._present(directory)
        entry = self._read("pasid", 0, (directory & ~0xfff) + (number & 63) * 64, words=8)
        self._present(entry[0])
        return entry

    @staticmethod
    def _present(word):
        if not word & 1:
            raise Fault()

    def _second_levels(self):
        return (self.entry[0] >> 2 & 7) + 2

    def _check_width(self, address):
        width = min(12 + 9 * self._second_levels(), (self.registers["CAP"] >> 16 & 0x3f) + 1)
        if address >> width:
            raise Fault()

    def _second_stage(self, address, write):
        table = self.entry[0] & ~0xfff
        for level in range(self._second_levels(), 0, -1):
            shift = 12 + 9 * (level - 1)
            (word,) = self._read("second-stage", level, table + (address >> shift & 511) * 8)
            if not word & (2 if write else 1):
                raise Fault()
            table = word & _ADDRESS
            if level == 1 or word & 1 << 7:
                return table + (address & (1 << shift) - 1)
        raise AssertionError("no leaf")

    def _first_stage(self, address, nested):
        levels = (self.entry[2] >> 2 & 3) + 4
        upper = address >> 12 + 9 * levels - 1
        if upper not in (0, (1 << 64 - (12 + 9 * levels - 1)) - 1):
            raise Fault()
        table = self.entry[2] & ~0xfff
        passed = []
        for level in range(levels, 0, -1):
            shift = 12 + 9 * (level - 1)
            place = guest = table + (address >> shift & 511) * 8
            if nested:
                self._check_width(guest)
                place = self._second_stage(guest, False)
            (word,) = self._read("first-stage", level, place, guest if nested else None)
            self._present(word)
            passed.append((word, self.steps[-1]))
            table = word & _ADDRESS
            if level == 1 or word & 1 << 7:
                self._check_rights(passed)
                return (table & ~((1 << shift) - 1)) + (address & (1 << shift) - 1)
        raise AssertionError("no leaf")

    def _check_rights(self, passed):
        """Those of all levels together; the lowest entry without counts."""
        for bit, needed in ((2, True), (1, self.write)):  # U/S, R/W
            without = [step for word, step in passed if not word & 1 << bit]
            if needed and without:
                raise Fault(without[-1])
