// Words written by hand from the specifications, and what is read in them.
#include "engine/entries/smmu_named_fields.h"

#include <cstdint>

#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

TEST(SmmuNamedFieldsTest, NamesThoseOfStreamTableEntries) {
  EXPECT_EQ(NameSteFields({}), "");
  EXPECT_EQ(NameSteFields({0x1}), "V=1");
  // Stage 1 alone: 1024 CDs of two levels, SSID 0 for requests without, full ATS.
  EXPECT_EQ(NameSteFields({0x5000'0000'0001'002b, 0x1000'10d6}),
            "V=1 Config=5 S1Fmt=2 S1ContextPtr=0x10000 S1CDMax=10 S1DSS=2 S1CIR=1 S1COR=1 S1CSH=3 "
            "DRE=1 EATS=1");
  // Nested, as a driver writes it.
  EXPECT_EQ(NameSteFields({0x0000'0000'7000'000f, 0x0000'1000'0208'00d4, 0x044d'3558'0000'0007,
                           0x0000'0001'2345'6000}),
            "V=1 Config=7 S1ContextPtr=0x70000000 S1CIR=1 S1COR=1 S1CSH=3 MEV=1 S2FWB=1 SHCFG=1 "
            "S2VMID=7 S2T0SZ=24 S2SL0=1 S2IR0=1 S2OR0=1 S2SH0=3 S2PS=5 S2AA64=1 S2PTW=1 S2R=1 "
            "S2TTB=0x123456000");
  EXPECT_EQ(NameSteFields({0, 0x000f'f1ff'cc07'e000, 0x03b0'c000'0000'ffff}),
            "CONT=15 DCP=1 PPAR=1 S1MPAM=1 S1STALLD=1 STRW=3 MemAttr=15 MTCFG=1 ALLOCCFG=15 "
            "SHCFG=3 NSCFG=3 PRIVCFG=3 INSTCFG=3 S2VMID=65535 S2TG=3 S2ENDI=1 S2AFFD=1 S2HD=1 "
            "S2HA=1 S2S=1");
  EXPECT_EQ(NameSteFields({0, 0, 0, 0, 1, 2, 3, 4}), "") << "no fields are there";
}

TEST(SmmuNamedFieldsTest, NamesThoseOfContextDescriptors) {
  EXPECT_EQ(NameCdFields({}), "");
  EXPECT_EQ(NameCdFields({0x0005'e205'c000'3510, 0x5000, 0, 0xf404'ff44}),
            "T0SZ=16 IR0=1 OR0=1 SH0=3 EPD1=1 V=1 IPS=5 AA64=1 R=1 A=1 ASET=1 ASID=5 TTB0=0x5000 "
            "MAIR0=0xf404ff44");
  EXPECT_EQ(NameCdFields({0x0000'1df8'3f98'c0c0, 0x3, 0x7003, 0x1'0000'0000, 0x2'0000'0003}),
            "TG0=3 EPD0=1 ENDI=1 T1SZ=24 TG1=2 IR1=3 OR1=3 SH1=3 AFFD=1 WXN=1 UWXN=1 TBI0=1 "
            "TBI1=1 PAN=1 HD=1 HA=1 S=1 NSCFG0=1 HAD0=1 NSCFG1=1 HAD1=1 TTB1=0x7000 MAIR1=0x1 "
            "AMAIR0=0x3 AMAIR1=0x2");
}

TEST(SmmuNamedFieldsTest, NamesThoseOfFirstLevels) {
  EXPECT_EQ(NameStreamL1Fields(0x1'2340'0009), "Span=9 L2Ptr=0x123400000");
  EXPECT_EQ(NameCdL1Fields(0x1'2341'0001), "V=1 L2Ptr=0x123410000");
  EXPECT_EQ(NameStreamL1Fields(0), "");
  EXPECT_EQ(NameCdL1Fields(0), "");
}

TEST(SmmuNamedFieldsTest, NamesThoseOfPageTables) {
  EXPECT_EQ(NameStage1Fields(0x0068'0001'2345'6f47, true),
            "AttrIndx=1 AP[2:1]=1 SH=3 AF=1 nG=1 DBM=1 PXN=1 UXN=1");
  EXPECT_EQ(NameStage1Fields(0x0010'0000'0000'00a3, true), "NS=1 AP[2:1]=2 Contiguous=1");
  EXPECT_EQ(NameStage1Fields(0xf800'0001'2345'6003, false),
            "PXNTable=1 UXNTable=1 APTable=3 NSTable=1");
  EXPECT_EQ(NameStage2Fields(0x0078'0001'2345'67ff, true),
            "MemAttr=15 S2AP=3 SH=3 AF=1 DBM=1 Contiguous=1 XN=3");
  EXPECT_EQ(NameStage2Fields(0xf800'0001'2345'6003, false), "");
}

}  // namespace
}  // namespace viommu::smmu
